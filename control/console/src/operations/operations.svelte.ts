// What the operations view shows, asked for again while it is looked at; must not know how it is shown.
import * as api from "../api";
import { session } from "../live/session.svelte";
import type { AccountRecord, AuditHead, BackupRun, ErrorBody, OperationsInfo, SessionRecord, TokenRecord } from "../wire";

export class Operating {
  info = $state.raw<OperationsInfo | null>(null);
  audit = $state.raw<AuditHead | null>(null);
  backup = $state.raw<BackupRun | null>(null);
  problem = $state.raw<ErrorBody | null>(null);

  async load(): Promise<void> {
    try {
      [this.info, this.audit] = await Promise.all([api.operations(), api.audit(1, {})]);
      this.backup = this.info.backup;
      this.problem = null;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }

  async startBackup(folder: string): Promise<ErrorBody | null> {
    try {
      this.backup = await api.startBackup(folder);
      return null;
    } catch (error) {
      return session.notice(error);
    }
  }
}

export class People {
  sessions = $state.raw<SessionRecord[] | null>(null);
  accounts = $state.raw<AccountRecord[] | null>(null);
  tokens = $state.raw<TokenRecord[] | null>(null);
  problem = $state.raw<ErrorBody | null>(null);

  /** `all`: of everybody, for who may oversee. */
  async load(all: boolean): Promise<void> {
    try {
      [this.sessions, this.tokens, this.accounts] = await Promise.all([
        api.sessions(all), api.tokens(all), all ? api.accounts() : null,
      ]);
      this.problem = null;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }

  /** Does something and looks again; what went wrong, or null. */
  async act(all: boolean, call: Promise<unknown>): Promise<ErrorBody | null> {
    try {
      await call;
      await this.load(all);
      return null;
    } catch (error) {
      return session.notice(error);
    }
  }
}
