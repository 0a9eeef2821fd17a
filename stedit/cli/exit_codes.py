"""What a command ends with."""

DONE = 0
FAILED = 1  # some inputs failed, and the others are done; or the model, the device or the output cannot be used
USAGE = 2  # the request contradicts itself or names something unknown; nothing was done
NOTHING_TO_DO = 3
INTERRUPTED = 130
