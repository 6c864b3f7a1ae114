import { expect, test } from "vitest";
import { csv } from "./save";

test("cells are quoted where they must be, and none becomes a formula", () => {
  expect(csv(["a", "b"], [[1.5, 'say "x"'], [null, "=1+1"], [-2, "two\nlines"], [true, "-3 m"]])).toBe(
    "a,b\r\n1.5,\"say \"\"x\"\"\"\r\n,'=1+1\r\n-2,\"two\nlines\"\r\ntrue,'-3 m\r\n",
  );
});
