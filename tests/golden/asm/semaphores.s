; RUN: asm %s -o %t/p.snnx --listing -
; Double buffering: the DMA fills one of two buffers while the vector unit empties the other one.
; `free` counts buffers that may be filled, `full` those that may be read.
.machine small
.equ tiles, 6
.equ n, 16
.symbol free, sem, 1
.symbol full, sem, 2
.tensor x, f16, [tiles, n], role=input
.tensor y, f32, [n], role=output
.equ buffers, 0                  ; two rows of 2*n bytes
.equ sums, 4*n

.reg here, r1
.reg from, r2
.reg step, r3
.reg one, r4
.reg cols, r5
.core 0
  li step, 2*n
  li one, 1
  li cols, n
  li from, x
  li r6, sums
  li r7, 4*n
  fill [r6:r0], n0=one, bytes=r7, f16(0.0)
  post dma, full, 1
  wait vpu, full, 1
  post seq, free, 2
  loopi tiles / 2 {
    .rep 2, half
    li here, buffers + \half * 2*n
    wait dma, free, 1
    ld [here:r0:r0], [from:r0:r0], n0=one, n1=one, bytes=step
    post dma, full, 1
    wait vpu, full, 1
    colsum [r6], [here:r0], rows=one, n=cols, type=f16, init=keep
    post vpu, free, 1
    add from, from, step
    .endr
  }
  wait dma, free, 2
  li r8, y
  st [r8:r0:r0], [r6:r0:r0], n0=one, n1=one, bytes=r7
  halt
