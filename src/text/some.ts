/** A few of many, such as `a, b and 3 more`. */
export function someOf(items: readonly string[], most = 3): string {
  const rest = items.length - most
  return rest > 0 ? `${items.slice(0, most).join(', ')} and ${rest} more` : items.join(', ')
}
