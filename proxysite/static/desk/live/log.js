// A list of rows, newest on top, that holds still while the person reads: when it is scrolled or
// paused, new rows wait behind a button that says how many there are.

const MOST_ROWS = 200;
const MOST_WAITING = 500;

export class Log {
  // `onMissed(count)` is told how many requests are not among the rows that were just shown.
  constructor({ list, box, empty, button, makeRow, writeCount, onMissed }) {
    Object.assign(this, { list, box, empty, button, makeRow, writeCount, onMissed });
    this.known = new Set();
    this.waiting = [];
    this.missed = 0;
    this.isPaused = false;
    button?.addEventListener("click", () => this.show());
    box?.addEventListener("scroll", () => { if (!this.holdsStill()) this.flush(); }, { passive: true });
  }

  holdsStill() { return this.isPaused || (this.box?.scrollTop ?? 0) > 4; }

  pause(isPaused) {
    this.isPaused = isPaused;
    if (!this.holdsStill()) this.flush();
  }

  // `rows` oldest first; `missed` more came that nobody listed.
  add(rows, key, missed = 0) {
    const fresh = rows.filter((row) => !this.known.has(row[key]));
    this.key = key;
    for (const row of fresh) this.known.add(row[key]);
    this.waiting.push(...fresh);
    this.missed += missed + this.forgetOldest(MOST_WAITING);
    if (this.holdsStill()) this.showButton();
    else this.flush();
  }

  // Forget the oldest rows that wait, beyond `most`; returns how many.
  forgetOldest(most) {
    const dropped = this.waiting.splice(0, Math.max(0, this.waiting.length - most));
    for (const row of dropped) this.known.delete(row[this.key]);
    return dropped.length;
  }

  show() {
    if (this.box) this.box.scrollTop = 0;
    this.flush();
    this.box?.focus({ preventScroll: true });
  }

  flush() {
    this.forgetOldest(MOST_ROWS);
    const rows = this.waiting.map((row) => {
      const made = this.makeRow(row);
      if (this.hasShown) made.classList.add("live-fresh");
      return made;
    });
    this.waiting = [];
    if (rows.length) this.onMissed?.(this.missed);
    this.missed = 0;
    this.list.prepend(...rows.reverse());
    this.hasShown ||= rows.length > 0;
    while (this.list.childElementCount > MOST_ROWS) {
      this.known.delete(this.list.lastElementChild.dataset.id);
      this.list.lastElementChild.remove();
    }
    if (this.empty) this.empty.hidden = this.list.childElementCount > 0;
    this.showButton();
  }

  showButton() {
    if (!this.button) return;
    const count = this.waiting.length + this.missed;
    this.button.hidden = count === 0;
    if (count) this.button.textContent = this.writeCount(count);
  }
}
