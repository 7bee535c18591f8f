"""Encrypt a stream of bytes with a passphrase, and decrypt it again, in constant memory.

The first line is JSON: `format`, `version`, and how the key is made of the passphrase (scrypt with
`n`, `r`, `p` and `salt`). Frames follow: four bytes with the length of the rest, a nonce of 12
bytes, and up to 1 MiB encrypted with AES-256-GCM. The first line, the number of the frame (from 0)
and a sign are authenticated with it: `+` when frames follow, `.` for the last one. So no frame can
be left out, exchanged or appended without notice.
"""

import json
import os
from base64 import b64decode, b64encode
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from proxysite.backup.backup_errors import BackupError, DamagedBackup

FORMAT = "proxysite-backup"
VERSION = 1
CIPHER = "AES-256-GCM"
SCRYPT_N = 2**16  # with r = 8 it takes 64 MiB and a fifth of a second
SCRYPT_R = 8
SCRYPT_P = 1
KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
LENGTH_BYTES = 4
FRAME_BYTES = 2**20
HEADER_BYTES = 1_000  # most bytes of the first line
HEADER_BEGIN = b'{"format": "proxysite-backup"'
NEXT = b"+"
LAST = b"."


def make_cipher(passphrase: str, salt: bytes) -> AESGCM:
    """Return the cipher whose key is made of the passphrase, which takes a fifth of a second."""
    kdf = Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    return AESGCM(kdf.derive(passphrase.encode()))


def describe_frame(header: bytes, number: int, sign: bytes) -> bytes:
    """Return the bytes that are authenticated with a frame."""
    return b"%s%d%s" % (header, number, sign)


class EncryptedWriter:
    """A binary file that writes its bytes encrypted to another one. `finish` writes the rest."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(SALT_BYTES)
        costs = {"n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P, "salt": b64encode(salt).decode()}
        fields = {"format": FORMAT, "version": VERSION, "cipher": CIPHER, "kdf": "scrypt", **costs}
        self._file = file
        self._header = f"{json.dumps(fields)}\n".encode()
        self._cipher = make_cipher(passphrase, salt)
        self._waiting = bytearray()
        self._number = 0
        file.write(self._header)

    def write(self, data: bytes) -> int:
        """Take bytes, and write the frames that they fill."""
        self._waiting += data
        while len(self._waiting) > FRAME_BYTES:  # never the last one, which `finish` writes
            self._write_frame(bytes(self._waiting[:FRAME_BYTES]), NEXT)
            del self._waiting[:FRAME_BYTES]
        return len(data)

    def flush(self) -> None:
        """Do nothing: a frame is written when it is full."""

    def finish(self) -> None:
        """Write the last frame; the file that is written to stays open."""
        self._write_frame(bytes(self._waiting), LAST)

    def _write_frame(self, data: bytes, sign: bytes) -> None:
        """Encrypt a frame and write it."""
        nonce = os.urandom(NONCE_BYTES)
        described = describe_frame(self._header, self._number, sign)
        frame = nonce + self._cipher.encrypt(nonce, data, described)
        self._file.write(len(frame).to_bytes(LENGTH_BYTES, "big"))
        self._file.write(frame)
        self._number += 1


class EncryptedReader:
    """A binary file that decrypts the bytes of an EncryptedWriter.

    Raises BackupError on a wrong passphrase, DamagedBackup on a changed or truncated file.
    """

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._file = file
        self._header = file.readline(HEADER_BYTES)
        self._cipher = make_cipher(passphrase, read_salt(self._header))
        self._number = 0
        self._waiting = b""
        self._has_ended = False

    def read(self, size: int) -> bytes:
        """Return `size` bytes at most; none at the end."""
        while not self._waiting and not self._has_ended:
            self._waiting = self._read_frame()
        data = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return data

    def _read_frame(self) -> bytes:
        """Return the bytes of the next frame. Raises BackupError, DamagedBackup."""
        length = int.from_bytes(self._read_exactly(LENGTH_BYTES), "big")
        if not NONCE_BYTES + TAG_BYTES <= length <= NONCE_BYTES + FRAME_BYTES + TAG_BYTES:
            raise DamagedBackup("The backup was changed: a frame has a length that none can have.")
        frame = self._read_exactly(length)
        for sign in (NEXT, LAST):
            data = self._open_frame(frame, sign)
            if data is not None:
                self._has_ended = sign == LAST
                self._number += 1
                if self._has_ended and self._file.read(1):
                    raise DamagedBackup("The backup was changed: bytes follow behind its end.")
                return data
        if self._number == 0:
            raise BackupError("The passphrase is wrong, or the backup was changed.")
        raise DamagedBackup(f"The backup was changed: frame {self._number} does not open.")

    def _open_frame(self, frame: bytes, sign: bytes) -> bytes | None:
        """Return the bytes of a frame; None when it was not written with this sign."""
        described = describe_frame(self._header, self._number, sign)
        try:
            return self._cipher.decrypt(frame[:NONCE_BYTES], frame[NONCE_BYTES:], described)
        except InvalidTag:
            return None

    def _read_exactly(self, size: int) -> bytes:
        """Return `size` bytes. Raises DamagedBackup when there are fewer."""
        data = self._file.read(size)
        if len(data) < size:
            raise DamagedBackup("The backup is cut off.")
        return data


def read_salt(header: bytes) -> bytes:
    """Return the salt. Raises BackupError on other ways to make a key, which might never end."""
    try:
        fields = json.loads(header)
        names = ("format", "version", "cipher", "kdf", "n", "r", "p")
        given = [fields.get(name) for name in names]
        salt = b64decode(str(fields.get("salt")), validate=True)
    except (ValueError, AttributeError, RecursionError):
        raise DamagedBackup("The backup was changed: its first line cannot be read.") from None
    if given != [FORMAT, VERSION, CIPHER, "scrypt", SCRYPT_N, SCRYPT_R, SCRYPT_P]:
        raise BackupError("The backup is encrypted in a form that this release cannot open.")
    return salt
