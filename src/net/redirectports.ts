/** The ports on which Envoy takes redirected connections: two that follow each other. */

/** The port of the listener that Service ports share. The redirect port leads to listeners of their own. */
export function sharedPortOf(redirectPort: number): number {
  return redirectPort + 1
}

export function redirectPortsOf(redirectPort: number): readonly [own: number, shared: number] {
  return [redirectPort, sharedPortOf(redirectPort)]
}
