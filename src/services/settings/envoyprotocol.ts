/** `grpc` is HTTP/2 whose answers say in trailers how a call went; `redis` and `tcp` are balanced by connections. */
export const envoyProtocols = ['http', 'grpc', 'redis', 'tcp'] as const
export type EnvoyProtocol = (typeof envoyProtocols)[number]

/** Those that are balanced by requests. */
export const requestProtocols = ['http', 'grpc'] as const satisfies readonly EnvoyProtocol[]

export function isByRequest(protocol: EnvoyProtocol): boolean {
  return (requestProtocols as readonly EnvoyProtocol[]).includes(protocol)
}
