import { bootstrapJson } from '../../envoy/bootstrap/bootstrap.ts'
import { staticBootstrap } from '../../envoy/bootstrap/static.ts'
import { frontendsOf } from '../../envoy/resources/frontend.ts'
import { hasOwnListeners } from '../../envoy/resources/listener.ts'
import { redirectListeners } from '../../envoy/resources/redirect.ts'
import { configurationOf } from '../../envoy/resources/resources.ts'
import type { KernelBackend } from '../../kernel/backend.ts'
import { backends } from '../../kernel/backends.ts'
import { hostPort } from '../../net/address.ts'
import { createLog } from '../../observe/log.ts'
import type { Layer, PortState } from '../../plan/ports/port.ts'
import type { Node } from '../../services/objects/service.ts'
import { formatProblem } from '../../services/problem.ts'
import { directorySource } from '../../sources/directory/directory.ts'
import { type DecidedConfig, obstaclesFor, withClientAddress } from '../clientaddress.ts'
import { familiesOf } from '../families.ts'
import { bootstrapOptions } from '../node/bootstrap.ts'
import type { Config } from '../options.ts'
import { shown } from '../output/print.ts'
import { table } from '../output/table.ts'
import { readOnce } from '../read.ts'
import { UsageError } from '../usage.ts'

type Form = (states: readonly PortState[], config: DecidedConfig, node: Node | undefined) => string

const forms: Readonly<Record<string, Form>> = {
  table: states => shown('table', states, summary),
  json: states => shown('json', states, summary),
  envoy: envoyConfiguration,
  ...Object.fromEntries(backends.map(backend => [backend.name, rulesOf(backend)])),
}

function rulesOf(backend: KernelBackend): Form {
  return (states, config, node) => {
    const options = {
      ...config,
      targetPort: config.redirectPort,
      families: familiesOf(config),
      ownsClusterIPs: config.services === 'all',
    }
    return backend.describe(states, node, options, state => !hasOwnListeners(state))
  }
}

interface TranslateOptions {
  /** One of `forms`. */
  readonly to: unknown
  /** Problems make the exit code 1. */
  readonly strict: boolean
}

/** Problems of the manifests go to standard error; the rest is translated all the same. */
export async function translate(given: Config, directory: string, { to, strict }: TranslateOptions): Promise<void> {
  // What auto decides on this machine says nothing of a node.
  const config = withClientAddress(given, given.clientAddress === 'preserve' ? 'preserve' : 'forwarded-for')
  const form = typeof to === 'string' && Object.hasOwn(forms, to) ? forms[to] : undefined
  if (!form) throw new UsageError(`--to is ${JSON.stringify(to)}, which is not ${Object.keys(forms).join(' or ')}`)
  const { states, node, problems } = await readStates(directory, config)
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`)
  process.stdout.write(form(states, config, node))
  if (strict && problems.length > 0) process.exitCode = 1
}

async function readStates(directory: string, config: DecidedConfig) {
  const source = directorySource(directory, { log: createLog('error') })
  const { plan, problems } = await readOnce(source, config.nodeName, {
    obstacles: obstaclesFor(config),
    clusterCidr: config.clusterCidr,
  })
  return { states: [...plan.states()].sort((a, b) => (a.id < b.id ? -1 : 1)), node: plan.node, problems: problems() }
}

export function summary(states: readonly PortState[]): string {
  const rows = states.map(({ id, vip, port, layer, endpoints, external }) => [
    id,
    `${hostPort(vip, port.port)}/${port.protocol}`,
    layerText(layer),
    external ? layerText(external.layer) : '-',
    String(endpoints.length),
    layer.reason,
  ])
  return `${table(['SERVICE PORT', 'VIP', 'LAYER', 'EXTERNAL', 'ENDPOINTS', 'WHY'], rows)}\n`
}

function layerText(layer: Layer): string {
  return layer.wants === 'envoy' ? `Envoy (${layer.protocol})` : 'kernel'
}

function envoyConfiguration(states: readonly PortState[], config: DecidedConfig): string {
  const options = { ...config, families: familiesOf(config) }
  const clientMark = config.clientAddress === 'preserve' ? config.envoyMark : undefined
  const frontends = states.flatMap(frontendsOf).filter(({ layer }) => layer.wants === 'envoy')
  const ports = configurationOf(frontends, { ...options, clientMark })
  const configuration = staticBootstrap([...redirectListeners(options), ...ports], bootstrapOptions(config))
  return `${JSON.stringify(bootstrapJson(configuration), undefined, 2)}\n`
}
