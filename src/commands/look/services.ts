import type { ServiceRow } from '../../node/report/answers/status.ts'
import { askLivingAgent } from '../agent.ts'
import type { Config } from '../options.ts'
import { type Output, print } from '../output/print.ts'
import { table } from '../output/table.ts'

const header = ['NAMESPACE', 'NAME', 'PORT', 'VIP', 'LAYER', 'EXTERNAL', 'ENDPOINTS', 'PROBLEMS', 'WHY']

export async function services(config: Config, namespace: unknown, output: Output): Promise<void> {
  const query = typeof namespace === 'string' ? `?namespace=${encodeURIComponent(namespace)}` : ''
  const rows = await askLivingAgent<readonly ServiceRow[]>(config.socket, `/services${query}`)
  print(output, rows, render)
}

export function render(rows: readonly ServiceRow[]): string {
  if (rows.length === 0) return 'no Services\n'
  const cells = rows.map(({ namespace, name, port, vip, layer, external, protocol, endpoints, problems, why = '' }) => [
    namespace,
    name,
    port ? `${port.name === String(port.number) ? '' : `${port.name}:`}${port.number}/${port.protocol}` : '-',
    vip ?? '-',
    layerText(layer, protocol),
    external === undefined ? '-' : layerText(external, protocol),
    String(endpoints),
    problems.join(',') || '-',
    why,
  ])
  return `${table(header, cells)}\n`
}

function layerText(layer: ServiceRow['layer'], protocol: ServiceRow['protocol']): string {
  if (layer === 'envoy') return `Envoy (${protocol})`
  if (layer === 'waiting') return 'kernel, waits for Envoy'
  return layer
}
