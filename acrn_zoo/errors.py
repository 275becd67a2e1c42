"""The base of every error that a user can mend."""


class UserError(Exception):
    """Something outside the program is wrong: a file, a value, a device, the network.

    Its message is one or two sentences: what is wrong (naming the file, line or value), what was expected, and
    what to do. The command line prints it without a traceback. Modules derive their own from it, together with
    the built-in class that callers would expect (``class VideoError(UserError, RuntimeError)``).

    Attributes:
        is_echo: whether it was raised in another process of the same run first, which says so.
    """

    is_echo: bool = False
