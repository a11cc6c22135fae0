"""What can go wrong in the world, one class per place. A message says what was found, what was needed, what to do."""


class SplatDeblurError(Exception):
    """Anything that a user can do something about; the command line prints it without a trace."""


class CaptureError(SplatDeblurError):
    """The photos or the video cannot be used."""


class PoseError(SplatDeblurError):
    """Camera poses are missing, unreadable or could not be found."""


class FormatError(SplatDeblurError):
    """A file is not what its name or header claims."""


class ConfigError(SplatDeblurError):
    """A preset or an option makes no sense."""


class BackendError(SplatDeblurError):
    """No renderer can do what was asked on this machine."""


class TrainingError(SplatDeblurError):
    """The optimisation left the realm of sensible scenes and could not be brought back."""
