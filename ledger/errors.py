"""What can go wrong in the ledger, one class for each fault that a caller treats differently.

Must not know files or formats: the message, written where the fault is seen, names the place and the fix.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Any refusal or fault of the ledger."""


class EntryError(LedgerError):
    """The caller's entry cannot be recorded, or recorded bytes are not an entry."""


class EntryTooLarge(EntryError):
    """The encoded entry is longer than a frame may be."""


class ProofError(LedgerError):
    """A proof was asked for that no such tree has (index or size out of range)."""


class NoteError(LedgerError):
    """A signed note, a checkpoint or a key is malformed, or its signature does not hold."""


class KeyFileError(LedgerError):
    """The log's key file is missing, unreadable or not a key."""


class NotFound(LedgerError):
    """The log, entry or file asked for does not exist."""


class LogDamaged(LedgerError):
    """The log contradicts itself, its checkpoint or its anchors. Nothing was changed on disk."""


class LogLocked(LedgerError):
    """Another process has the log (or chain) open for writing."""


class LogFailed(LedgerError):
    """The disk refused a write: what reached it is not known until the log is opened again."""


class LogClosed(LedgerError):
    """The log or its writer was closed before this call."""


class LedgerBusy(LedgerError):
    """The writer's queue is full: the disk is slower than the plant. Nothing was recorded; submit again."""


class AnchorError(LedgerError):
    """An anchor could not be made or read."""


class AnchorConflict(AnchorError):
    """The chain and this log tell different histories."""


class AnchorTimeout(AnchorError):
    """The chain did not answer in time; whether the anchor exists is settled at the next call."""


class AnchorReorganised(AnchorError):
    """The chain took anchors back; at the next call they are voided here and recorded anew."""


class AnchorWorkerDied(AnchorError):
    """The chain's process ended; it is started again at the next call."""


class ChainError(AnchorError):
    """The embedded chain refused a transaction or cannot be read."""


class ContractRefused(ChainError):
    """A contract does not take what it was asked for; the message has its reason. Asking again changes nothing."""


class ContractMissing(ChainError):
    """Nothing was ever recorded in this contract: it is not on the chain yet."""


class WitnessRefused(LedgerError):
    """A witness did not cosign a checkpoint, or answered with something else."""


class WitnessConflict(WitnessRefused):
    """A witness has cosigned another past of this log."""
