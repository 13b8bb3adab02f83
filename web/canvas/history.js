// Undo and redo over whole states. Nothing here knows what a state is.

/** @template T */
export class History {
  /**
   * @param {T} first
   * @param {number} [most] how many states are kept, the present one included
   */
  constructor(first, most = 60) {
    this.states = [first]
    this.place = 0
    this.most = most
  }

  get now() {
    return this.states[this.place]
  }

  /** Whether there is a step back (-1) or forth (1). @param {-1 | 1} by */
  has(by) {
    return this.place + by in this.states
  }

  /** A new present; what was undone before is forgotten. @param {T} state */
  push(state) {
    this.states.splice(this.place + 1, Infinity, state)
    if (this.states.length > this.most) this.states.shift()
    this.place = this.states.length - 1
  }

  /** One step, if there is one. @param {-1 | 1} by @returns {boolean} whether there was */
  step(by) {
    const there = this.has(by)
    if (there) this.place += by
    return there
  }
}
