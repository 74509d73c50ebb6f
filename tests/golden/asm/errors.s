; RUN: asm %s -o %t/p.snnx
; E0701
.core 0
  li r1, (2 + 3
  li r2, 4 4
  .tensor x, f16, [2, addr=3
  halt } now
.meta a = "unterminated
; -----
; E0702
.core 0
  gac r1
  .machne small
; -----
; E0703
.micro lif
.end
.reg acc, r5
.core 0
  add r1, r2
  add r1, r2, r64
  li acc, 1 << 63
  wait fpp, sem1, 1
  post fp, acc, 1
  add ac, r1, r1
  ew @lfi, steps=r1, rows=r1, cols=r1, seed=r1
  ew @7, steps=r1, rows=r1, cols=r1, seed=r1
; -----
; E0704
.equ tiles, 4
.core 0
  li r1, tile * 2
  loopi 3, ende
  li r2, sizeof(tiles)
.core 1
ende:
; -----
; E0705
.equ n, 4
.equ n, 5
.symbol sem3, sem, 3
.core 0
again:
again: halt
n: halt
; -----
; E0706
.equ a, b + 1
.equ b, a
.core 0
  li r1, 7 / (4 - 4)
  li r2, 1 << 900
  li r3, 1.5
  li r4, a
  li r5, exp(2)
  li r6, 0b12
  li r7, ~0 << 100 << 100
; -----
; E0707
.core 0
.equ n
.tensor x, f61, [2]
.tensor x, f16, 2
.tensor x, f16, [2], adr=4
.bytes 1
.symbol n, smaphore, 3
.meta x = {1}
.hex 123
.rep
.endr
; -----
; E0708
.core 0
  loopi 4 {
  nop
.core 1
  }
  add r1, r1, r1 {
.end
.endr
.micro m
; -----
; E0709
.macro two a, b
  add \a, \a, \b
.endm
.macro again
  again
.endm
.core 0
  two r1
  again
; -----
; E0710
.micro lif
  v = state.h s0
  x = mull.h v, v
.end
.micro short
  v = state.h s0
.end
; -----
; E0711
.machine smal
; -----
; E0711
.machine text
| name = "mine"
.end
; -----
; E0712
.machine small
.data sram, 32760, core=0
  .f32 1, 2, 3
.data dram, 0
  .bytes 1, 256
  .bits "102"
; -----
; E0713
.machine small
.tensor x, f16, [2, 2], layout=[0:2:1:4, 1:1:1:2]
.tensor y, f16, [20000], space=sram, core=1
; -----
; E0714
.machine small
.core 0
  halt
.core 0
.core 4
; -----
; E0715
.data dram, 0
  .incbin "/etc/hostname"
  .incbin "nothing.bin"
  .incbin "../x.bin"
; -----
; where a mistake in a macro comes from
.macro load reg, value
  li \reg, \value
.endm
.core 0
  .rep 2, i
  load r\i, missing
  .endr
