// Whether an answer is to the newest question: what a later question overtook is thrown away.

export class Newest {
  private asked = 0;

  /** Asks anew; the function returned says whether nothing has been asked since. */
  ask(): () => boolean {
    const mine = ++this.asked;
    return () => mine === this.asked;
  }
}
