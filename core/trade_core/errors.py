"""The closed tree of errors that services raise. Each message names what was found and what to do about it."""


class TradeError(Exception):
    """The root: anything of ours that a caller may want to catch."""


class ConfigurationError(TradeError):
    """A setting, file or credential that a service refuses to start with; exit code 2."""


class InvalidNumber(TradeError):
    """Text that is not a plain decimal number of the permitted grammar."""


class ExchangeUnavailable(TradeError):
    """The exchange did not answer a request that had no effect there, or never received it."""


class UnknownOutcome(TradeError):
    """A request was sent and its effect is not known: query by order link id, never send it again."""


class ExchangeAnswerInvalid(TradeError):
    """The exchange answered something that is not its own protocol."""
