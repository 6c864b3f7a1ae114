# pragma version 0.4.3
"""
@title Roles
@license Apache-2.0
@notice Who may write and who may appoint, for the contracts beside this file; not a contract by itself.
@dev The admin appoints and never writes; the writer writes and never appoints. The admin may be a multi-signature wallet.
"""

event WriterChanged:
    writer: indexed(address)

event AdminChanged:
    admin: indexed(address)

admin: public(address)
writer: public(address)


@deploy
def __init__(writer: address):
    assert writer != empty(address), "writer is zero"
    self.admin = msg.sender
    self.writer = writer
    log AdminChanged(admin=msg.sender)
    log WriterChanged(writer=writer)


@internal
def _only_writer():
    assert msg.sender == self.writer, "not the writer"


@internal
def _only_admin():
    assert msg.sender == self.admin, "not the admin"


@internal
def _dismiss():
    """
    @notice Nobody writes from now on.
    """
    self.writer = empty(address)
    log WriterChanged(writer=empty(address))


@internal
def _appoint(writer: address):
    self._only_admin()
    assert writer != empty(address), "writer is zero"
    self.writer = writer
    log WriterChanged(writer=writer)


@external
def set_admin(admin: address):
    self._only_admin()
    assert admin != empty(address), "admin is zero"
    self.admin = admin
    log AdminChanged(admin=admin)
