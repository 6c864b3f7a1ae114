# pragma version 0.4.3
# pragma evm-version prague
"""
@title ModelRegistry
@license Apache-2.0
@notice Which models were certified, on which data, up to which stage, and which were revoked.
@dev A model is the SHA-256 under which its registry keeps it. A certificate is given once for a model and raised by
     stages; a revoked model never comes back: train another.
"""

import roles

initializes: roles

exports: (roles.admin, roles.writer, roles.set_admin)

STAGE_MAX: constant(uint8) = 3  # 0 trained, 1 shadow, 2 canary, 3 live

struct Certificate:
    data_set: bytes32
    evaluation: bytes32
    certified_s: uint64
    revoked_s: uint64  # 0 while it holds
    stage: uint8

event Certified:
    model: indexed(bytes32)
    data_set: indexed(bytes32)
    evaluation: bytes32
    stage: uint8

event StageChanged:
    model: indexed(bytes32)
    stage: uint8
    previous_stage: uint8

event Revoked:
    model: indexed(bytes32)
    reason: bytes32

certificates: public(HashMap[bytes32, Certificate])
count: public(uint256)


@deploy
def __init__(writer: address):
    roles.__init__(writer)


@internal
def _valid(model: bytes32) -> Certificate:
    found: Certificate = self.certificates[model]
    assert found.certified_s != 0, "unknown model"
    assert found.revoked_s == 0, "revoked"
    return found


@external
def certify(model: bytes32, data_set: bytes32, evaluation: bytes32, stage: uint8):
    """
    @notice Certify a model for a stage, once.
    @param data_set SHA-256 of what it was trained and tested on.
    @param evaluation SHA-256 of the report of its test.
    """
    roles._only_writer()
    assert model != empty(bytes32) and data_set != empty(bytes32) and evaluation != empty(bytes32), "zero"
    assert stage <= STAGE_MAX, "unknown stage"
    assert self.certificates[model].certified_s == 0, "certified"
    self.certificates[model] = Certificate(
        data_set=data_set,
        evaluation=evaluation,
        certified_s=convert(block.timestamp, uint64),
        revoked_s=0,
        stage=stage,
    )
    self.count += 1
    log Certified(model=model, data_set=data_set, evaluation=evaluation, stage=stage)


@external
def set_stage(model: bytes32, stage: uint8):
    roles._only_writer()
    found: Certificate = self._valid(model)
    assert stage <= STAGE_MAX, "unknown stage"
    assert stage != found.stage, "same stage"
    self.certificates[model].stage = stage
    log StageChanged(model=model, stage=stage, previous_stage=found.stage)


@external
def revoke(model: bytes32, reason: bytes32):
    """
    @notice The certificate holds no more, for ever.
    @param reason Hash of why.
    """
    roles._only_writer()
    self._valid(model)
    self.certificates[model].revoked_s = convert(block.timestamp, uint64)
    log Revoked(model=model, reason=reason)


@external
@view
def certified(model: bytes32, stage: uint8) -> bool:
    """
    @notice Whether the model may serve at `stage` now.
    """
    found: Certificate = self.certificates[model]
    return found.certified_s != 0 and found.revoked_s == 0 and found.stage >= stage


@external
def set_writer(writer: address):
    roles._appoint(writer)
