/** The key of a Service port in samples and reports, its IP families together: `namespace/service/port`. */
export function portKey({
  namespace,
  service,
  port,
}: {
  readonly namespace: string
  readonly service: string
  readonly port: string
}): string {
  return `${namespace}/${service}/${port}`
}
