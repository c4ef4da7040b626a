/** A mistake of the user: printed as one line, without a stack, and the program ends with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
