; RUN: asm %s -o %t/p.snnx --listing -
; Two cores: core 0 doubles a vector and sends it to core 1, which adds its own one and stores it.
.machine small
.equ n, 8
.equ doubled, 3                  ; the tag of the message
.tensor x, f16, [n], role=input
.tensor b, f16, [n], role=param
.tensor y, f16, [n], role=output

.data x
  .f16 1, 2, 3, 4, 5, 6, 7, 0.5
.data b
  .rep n, i
  .f16 \i * 10
  .endr

.micro sum
  v = ld.h s0
  w = ld.h s1
  h = add.h v, w
  st.h s2, h
.end

; op moves one row; registers: one holds 1, size the bytes
.macro row op, to, from
  \op [\to:r0:r0], [\from:r0:r0], n0=one, n1=one, bytes=size
.endm
.reg one, r1
.reg size, r2
.reg cols, r3
.reg a, r4
.reg other, r5
.reg result, r6
.reg place, r7
.macro begin tensor
  li one, 1
  li size, sizeof(\tensor)
  li cols, n
  li a, 0
  li other, 32
  li result, 64
  li place, \tensor
  row ld, a, place
  post dma, sem0, 1
  wait vpu, sem0, 1
.endm

.core 0
  begin x
  stream s0, [a:r0:r0]
  stream s1, [a:r0:r0]
  stream s2, [result:r0:r0]
  ew @sum, steps=one, rows=one, cols=cols, seed=r0
  post vpu, sem1, 1
  wait noc, sem1, 1
  send one, doubled, [result], bytes=size
  halt

.core 1
  begin b
  recv r0, doubled, [other], bytes=size
  post noc, sem1, 1
  wait vpu, sem1, 1
  stream s0, [a:r0:r0]
  stream s1, [other:r0:r0]
  stream s2, [result:r0:r0]
  ew @sum, steps=one, rows=one, cols=cols, seed=r0
  post vpu, sem2, 1
  wait dma, sem2, 1
  li place, y
  row st, place, result
  halt
