; RUN: asm %s -o %t/p.snnx --listing -
; A leaky neuron over four time steps: h = 0.5*v + x, spike when h > 1, reset by subtraction.
.machine small
.equ steps, 4
.equ cols, 5
.tensor x, f16, [steps, cols], role=input
.tensor v, f16, [cols], role=state
.tensor s, bit, [steps, cols], role=output
.data x
  .rep steps
  .f16 0.25, 0.75, 1.0, 1.5, -inf
  .endr

.micro leaky
  v = state.h s1
  x = ld.h s0
  beta = const.h 0.5
  theta = const.h 1.0
  zero = const.h 0.0
  decayed = mul.h beta, v
  h = add.h decayed, x
  s = gt h, theta
  drop = sel.h s, theta, zero
  after = sub.h h, drop
  st.m s2, s
  next v, after
.end

.data sram, 256, core=0          ; the membrane starts at rest
  .fill 2*cols

.core 0
.layer hidden
.phase fp
  li r1, 0
  li r2, 2*cols
  li r3, steps
  li r4, x
  li r5, 1
  ld [r1:r0:r2], [r4:r0:r2], n0=r5, n1=r3, bytes=r2
  post dma, sem0, 1
  wait fp, sem0, 1
  li r6, 256
  li r7, 512
  li r8, 2                       ; bytes of a row of spikes
  li r9, cols
  stream s0, [r1:r2:r0]
  stream s1, [r6:r0:r0]
  stream s2, [r7:r8:r0]
  neuron @leaky, steps=r3, rows=r5, cols=r9, seed=r0
  post fp, sem1, 1
  wait dma, sem1, 1
  li r10, s
  st [r10:r0:r8], [r7:r0:r8], n0=r5, n1=r3, bytes=r8
  li r10, v
  st [r10:r0:r0], [r6:r0:r0], n0=r5, n1=r5, bytes=r2
  halt
