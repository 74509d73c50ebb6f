"""What lowering is built with: steps, versions, places, order of issue, semaphores, registers."""
