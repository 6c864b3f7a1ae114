// What the signed-in person may not do, and why, in words; the server decides (control/permissions.py), this only explains.
import type { CommandRecord, Who } from "../wire";

const UNKNOWN_YET = "It is not known yet who is signed in.";

/** Why no command can be given, "" when it can. */
export function commandHindrance(who: Who | null): string {
  if (who === null) return UNKNOWN_YET;
  return who.may.includes("command") ? "" : `The role ${who.role} may not command.`;
}

/** Why something else than a command may not be done, "" when it may; `doing` as in "may not train models". */
export function hindranceOf(who: Who | null, act: string, doing: string): string {
  if (who === null) return UNKNOWN_YET;
  return who.may.includes(act) ? "" : `The role ${who.role} may not ${doing}.`;
}

const SHARERS = ["supervisor", "engineer", "admin"];

/** Why a view cannot be saved for all, "" when it can (control/view_store.py). */
export function shareHindrance(who: Who | null): string {
  if (who === null) return UNKNOWN_YET;
  return SHARERS.includes(who.role) ? "" : `Views for all take a supervisor, an engineer or an admin; you are ${who.role}.`;
}

/** Why somebody cannot approve or reject a command that awaits approval, "" when he can. */
export function approvalHindrance(who: Who | null, command: CommandRecord): string {
  if (who === null) return UNKNOWN_YET;
  const wanted = command.approver || "operator";
  if (!who.approves.includes(wanted)) return `It takes somebody who approves as ${wanted}; you are ${who.role}.`;
  if (person(who.name) === person(command.author)) return "You asked for it: somebody else must approve it.";
  if (command.approved_by.map(person).includes(person(who.name))) return "You have approved it: another person must, too.";
  return "";
}

/** Why somebody cannot operate a selected command, "" when he can. */
export function operateHindrance(who: Who | null, command: CommandRecord): string {
  if (who !== null && who.name !== command.author) return `Only ${command.author}, who selected it, can operate it.`;
  return commandHindrance(who);
}

/** `opcua:anna` and `anna` are one person. */
export function person(author: string): string {
  return author.slice(author.lastIndexOf(":") + 1);
}

/** Why no branch can be made and no what-if asked, "" when they can. */
export function simulationHindrance(who: Who | null): string {
  if (who === null) return UNKNOWN_YET;
  return who.may.includes("simulate") ? "" : `The role ${who.role} may not simulate.`;
}
