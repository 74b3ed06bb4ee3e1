class Logger:
    """Keeps what is logged as an error, with what it was bound to."""

    errors: list = []

    def __init__(self, **bound):
        self.bound = bound

    def bind(self, **more):
        return Logger(**self.bound, **more)

    def error(self, message, **more):
        Logger.errors.append({"message": message, **self.bound, **more})


logger = Logger()
