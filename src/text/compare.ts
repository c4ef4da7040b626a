/** Compares by code units, as `<` does, for sort: in no language's order. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
