; RUN: asm %s -o %t/p.snnx --listing -
; Spike-gated accumulate: the rows of w whose spike is 1 are added, so the infinity in row 1 of w
; never counts.
.machine small
.equ rows, 2
.equ k, 3
.equ n, 4
.core 0
.data sram, 0                    ; spikes, one row of 16 bits per sample
  .bits "101"
  .bits "000"
.data sram, 16                   ; weights
  .f16 1, 2, 3, 4
  .f16 inf, -inf, nan, 0
  .f16 0.5, 0.5, 0.5, 65504
.data sram, 64                   ; bias
  .f16 10, 20, 30, 40
.tensor acc, f32, [rows, n], role=output, space=sram, addr=128
  li r1, acc
  li r2, 4*n
  li r3, 2
  li r4, 16
  li r5, 2*n
  li r6, rows
  li r7, k
  li r8, n
  li r9, 64
  gacc [r1:r2], [r0:r3], [r4:r5], rows=r6, k=r7, n=r8, init=bias, bias=[r9]
  halt
