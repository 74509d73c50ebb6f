"""What the lowering passes share: registers, semaphores, loop trees, instruction selection."""
