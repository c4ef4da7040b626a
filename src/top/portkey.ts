/** By what samples and reports know a Service port, its IP families together: `namespace/service/port`. */
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
