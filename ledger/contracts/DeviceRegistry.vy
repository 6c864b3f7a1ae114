# pragma version 0.4.3
# pragma evm-version prague
"""
@title DeviceRegistry
@license Apache-2.0
@notice Which key speaks for a device, who owns it, and whether it still may.
@dev A device is the hash of its identity, a key the hash of its public key or certificate: names stay off the chain.
     Devices are registered by the writer, kept up by their owner, revoked by either, and never come back.
"""

import roles

initializes: roles

exports: (roles.admin, roles.writer, roles.set_admin)

struct Device:
    key: bytes32
    owner: address
    registered_s: uint64
    revoked_s: uint64  # 0 while it is trusted

event Registered:
    device: indexed(bytes32)
    key: indexed(bytes32)
    owner: indexed(address)

event KeyChanged:
    device: indexed(bytes32)
    key: indexed(bytes32)
    previous_key: bytes32

event OwnerChanged:
    device: indexed(bytes32)
    owner: indexed(address)

event Revoked:
    device: indexed(bytes32)
    by: indexed(address)
    reason: bytes32

devices: public(HashMap[bytes32, Device])
count: public(uint256)


@deploy
def __init__(writer: address):
    roles.__init__(writer)


@internal
def _kept(device: bytes32) -> Device:
    """
    @notice A device that the sender may change.
    """
    found: Device = self.devices[device]
    assert found.registered_s != 0, "unknown device"
    assert found.revoked_s == 0, "revoked"
    return found


@external
def register(device: bytes32, key: bytes32, owner: address):
    """
    @notice Take a device in, once.
    """
    roles._only_writer()
    assert device != empty(bytes32) and key != empty(bytes32) and owner != empty(address), "zero"
    assert self.devices[device].registered_s == 0, "registered"
    self.devices[device] = Device(key=key, owner=owner, registered_s=convert(block.timestamp, uint64), revoked_s=0)
    self.count += 1
    log Registered(device=device, key=key, owner=owner)


@external
def set_key(device: bytes32, key: bytes32):
    found: Device = self._kept(device)
    assert msg.sender == found.owner, "not the owner"
    assert key != empty(bytes32), "zero"
    self.devices[device].key = key
    log KeyChanged(device=device, key=key, previous_key=found.key)


@external
def set_owner(device: bytes32, owner: address):
    found: Device = self._kept(device)
    assert msg.sender == found.owner, "not the owner"
    assert owner != empty(address), "zero"
    self.devices[device].owner = owner
    log OwnerChanged(device=device, owner=owner)


@external
def revoke(device: bytes32, reason: bytes32):
    """
    @notice The device is trusted no more, for ever.
    @param reason Hash of why.
    """
    found: Device = self._kept(device)
    assert msg.sender == found.owner or msg.sender == roles.writer, "not the owner"
    self.devices[device].revoked_s = convert(block.timestamp, uint64)
    log Revoked(device=device, by=msg.sender, reason=reason)


@external
@view
def trusted(device: bytes32, key: bytes32) -> bool:
    """
    @notice Whether `key` speaks for the device now.
    """
    found: Device = self.devices[device]
    return found.registered_s != 0 and found.revoked_s == 0 and found.key == key


@external
def set_writer(writer: address):
    roles._appoint(writer)
