import { expect, test } from "vitest";
import { approvalHindrance, commandHindrance, operateHindrance } from "./rights";
import type { CommandRecord, Who } from "../wire";

const anna: Who = { name: "anna", role: "operator", account: true, may: ["see", "command"], approves: ["operator"] };
const sue: Who = { name: "sue", role: "supervisor", account: true, may: ["see", "command"], approves: ["operator", "supervisor"] };
const vic: Who = { name: "vic", role: "viewer", account: true, may: ["see"], approves: [] };
const asked = { author: "anna", approver: "supervisor", approvals: 2, approved_by: [] as string[] } as unknown as CommandRecord;

test("a viewer is told that the role may not command", () => {
  expect(commandHindrance(vic)).toContain("viewer");
  expect(commandHindrance(anna)).toBe("");
  expect(commandHindrance(null)).not.toBe("");
});

test("only another person of the role approves, and nobody twice", () => {
  expect(approvalHindrance(sue, asked)).toBe("");
  expect(approvalHindrance(anna, asked)).toContain("supervisor");
  expect(approvalHindrance(sue, { ...asked, author: "opcua:sue" })).toContain("You asked");
  expect(approvalHindrance(sue, { ...asked, approved_by: ["sue"] })).toContain("another person");
});

test("only who selected a point operates it", () => {
  expect(operateHindrance(anna, asked)).toBe("");
  expect(operateHindrance(sue, asked)).toContain("anna");
});
