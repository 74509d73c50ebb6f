"""Who runs next: timed, untimed, parallel, periodic."""
