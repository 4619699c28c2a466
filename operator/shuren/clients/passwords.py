"""Keys are stored without a password."""

from __future__ import annotations


class EncryptedKey(OSError, ValueError):
    """A key that cannot be read without a password: a file that is of no use, or a value that is wrong, as one takes it."""


def no_password() -> str:
    """Asked for the password of an encrypted key; without it OpenSSL would ask at the terminal, for ever."""
    raise EncryptedKey("the key is encrypted; store it without a password")
