// Views saved under a name, one's own and everybody's; must not know how they are listed.
import * as api from "../api";
import { session } from "../live/session.svelte";
import type { ErrorBody, SavedView } from "../wire";

/** Whoever opened the console without naming a view gets the one that is to open first. */
const arrivedPlain = window.location.hash.replace(/^#\/?/, "") === "";

export class SavedViewList {
  list = $state.raw<SavedView[] | null>(null);
  startup = $state("");
  problem = $state.raw<ErrorBody | null>(null);
  /** The one that was deleted last: it can be had back. */
  deleted = $state.raw<SavedView | null>(null);

  async load(): Promise<void> {
    try {
      const found = await api.savedViews();
      this.list = found.views;
      this.startup = found.startup;
      this.problem = null;
    } catch (error) {
      this.problem = session.notice(error);
    }
  }

  /** Once, when the console is opened. */
  async arrive(): Promise<void> {
    await this.load();
    const first = this.list?.find((v) => v.id === this.startup);
    if (arrivedPlain && first) window.location.replace(first.address);
  }

  save(name: string, shared: boolean): Promise<boolean> {
    return this.act(api.saveView({ name, address: window.location.hash, shared }));
  }

  rename(view: SavedView, name: string): Promise<boolean> {
    return this.act(api.changeView(view.id, { name }));
  }

  async remove(view: SavedView): Promise<void> {
    if (await this.act(api.deleteView(view.id))) this.deleted = view;
  }

  async undo(): Promise<void> {
    const { deleted } = this;
    if (deleted !== null && (await this.act(api.restoreView(deleted.id)))) this.deleted = null;
  }

  openFirst(id: string): Promise<boolean> {
    return this.act(api.openFirst(id));
  }

  /** Whether it was done; what went wrong is in `problem`. */
  private async act(call: Promise<unknown>): Promise<boolean> {
    try {
      await call;
      await this.load();
      return true;
    } catch (error) {
      this.problem = session.notice(error);
      return false;
    }
  }
}
