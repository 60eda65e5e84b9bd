"""What a file of somebody else's may say: plain data of bounded size, and names from a list.

Nothing here locates, imports or builds what a file names. It is compared as text.
"""

from patchlight.trust.allowlist import RENAMED
from patchlight.trust.check import trusted_config
from patchlight.trust.reading import plain, read_json, read_yaml

__all__ = ["RENAMED", "plain", "read_json", "read_yaml", "trusted_config"]
