import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Certificates } from '../../certificates/certificate.ts'
import { certificateFiles } from '../../certificates/files.ts'
import { keptCertificate } from '../../certificates/kept.ts'
import { namespace } from '../../cluster/namespace.ts'
import { podUids } from '../../cluster/poduids.ts'
import { factsAccess } from '../../controlplane/admission.ts'
import { keepSnapshot } from '../../controlplane/knowledge/snapshotfile.ts'
import type { Reachability } from '../../controlplane/reachability/reachability.ts'
import { controlPlaneRoutes } from '../../controlplane/routes.ts'
import { type ControlPlane, startControlPlane, usualMostStreams } from '../../controlplane/server.ts'
import { keepTokens } from '../../controlplane/tokenfile.ts'
import { hostPort } from '../../net/address.ts'
import { Bearers } from '../../observe/access/bearers.ts'
import { serveTcp } from '../../observe/http.ts'
import { createLog, type Log } from '../../observe/log.ts'
import type { Note } from '../../services/note.ts'
import { isLoopback } from '../../sources/controlplane/replicas/addresses.ts'
import type { Source } from '../../sources/source.ts'
import { everyAddress } from '../families.ts'
import type { Config } from '../options.ts'
import { UsageError } from '../usage.ts'

const service = 'lightpath-controlplane'
/** All nodes of a domain may come at once, and each waits. */
const mostReviews = 32
const day = 24 * 3600e3

/** Runs until SIGTERM or SIGINT. */
export async function runControlPlane(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const { controlPlaneAddress: address, controlPlaneState: state, maxStaleness: maxStalenessMs } = config
  const certificates = await certificatesOf(config, log)
  const source = await sourceOf(config, log)
  const bearers = certificates && (await bearersOf(config))
  const events = await recordEvents(config, log)
  const tell = (note: Note) => events?.record(note)
  let reachability: Reachability | undefined
  const exclusionsChanged = () => reachability?.look()
  const options = { address, certificates, bearers, maxStalenessMs, log, tell, exclusionsChanged }
  const controlPlane = await startControlPlane(options)
  reachability = await tellReachability(controlPlane, config, log)
  const metrics = { address: config.metricsAddress ?? everyAddress(config), port: config.metricsPort }
  const probes = await serveTcp(controlPlaneRoutes(controlPlane), metrics, log)
  log.info({ port: controlPlane.port, metricsPort: config.metricsPort }, 'control plane started')
  const endTokens = state !== undefined && bearers ? keepTokens(join(state, 'tokens'), bearers, log) : undefined
  const { knowledge } = controlPlane
  await source.start(knowledge)
  const snapshot = state === undefined ? undefined : keepSnapshot({ file: join(state, 'facts'), knowledge, log })
  await new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => resolve())
  })
  endTokens?.()
  await Promise.all([source.stop(), snapshot?.stop(), reachability?.stop()])
  await Promise.all([controlPlane.stop(), probes.stop(), events?.stop()])
}

/** Undefined where the facts come from a directory: nobody gets Events then. */
async function recordEvents({ source, kubeconfig }: Config, log: Log) {
  if (source !== undefined) return undefined
  const [{ EventRecorder }, { kubernetesApi }] = await Promise.all([
    import('../../sources/events.ts'),
    import('../../cluster/api.ts'),
  ])
  const ask = kubernetesApi(kubeconfig)
  return new EventRecorder({ kubeconfig, host: hostname(), uidOf: podUids(ask), log })
}

/** Undefined where Kubernetes is told nothing. */
async function tellReachability(controlPlane: ControlPlane, config: Config, log: Log) {
  const { source, kubeconfig, maxUnready, controlPlaneAddress } = config
  if (source !== undefined || maxUnready === undefined) return undefined
  const [{ kubernetesApi }, { Reachability }, { conditionWriter }, { isTeller }] = await Promise.all([
    import('../../cluster/api.ts'),
    import('../../controlplane/reachability/reachability.ts'),
    import('../../controlplane/reachability/podcondition.ts'),
    import('../../controlplane/reachability/teller.ts'),
  ])
  const { ready } = controlPlane.knowledge
  const self = { service: `${namespace}/${service}`, address: controlPlaneAddress.address, port: controlPlane.port }
  return new Reachability({
    ready,
    exclusions: () => controlPlane.exclusions,
    isTeller: () => isTeller(self, ready, controlPlane.exclusions),
    write: conditionWriter(kubernetesApi(kubeconfig)),
    share: maxUnready / 100,
    log,
  })
}

async function certificatesOf(config: Config, log: Log): Promise<Certificates | undefined> {
  const { controlPlaneAddress: address, controlPlaneCertificate: directory, source, kubeconfig } = config
  if (directory !== undefined) return use => certificateFiles(directory, use)
  if (isLoopback(address.address)) return undefined
  if (source !== undefined) {
    throw new UsageError(
      `--control-plane-address ${hostPort(address.address, address.port)} can be reached from other hosts, which takes TLS, and with --source nobody keeps a certificate; give --control-plane-certificate, or an address such as 127.0.0.1:9444`,
    )
  }
  const [{ kubernetesApi }, { keeper }, { trustInConfigMap }] = await Promise.all([
    import('../../cluster/api.ts'),
    import('../../certificates/keeper.ts'),
    import('../../controlplane/bundle.ts'),
  ])
  const ask = kubernetesApi(kubeconfig)
  const trust = (authority: string) => trustInConfigMap(ask, authority)
  const names = [`${service}.${namespace}.svc`]
  const own: Certificates = use => keeper({ ask, secret: service, names, lifetimeMs: 90 * day, trust }, use)
  return keptCertificate(own, config.controlPlaneState, log)
}

async function bearersOf({ kubeconfig }: Config): Promise<Bearers> {
  const { kubernetesApi } = await import('../../cluster/api.ts')
  const ask = kubernetesApi(kubeconfig)
  // A token is replaced each hour, and the one before is known for as long.
  const mostTokens = 2 * usualMostStreams
  return new Bearers((path, object) => ask('POST', path, object), factsAccess, { mostTokens, mostReviews })
}

async function sourceOf({ source, kubeconfig }: Config, log: Log): Promise<Source> {
  if (source !== undefined) {
    const { directorySource } = await import('../../sources/directory/directory.ts')
    return directorySource(source, { log })
  }
  const { kubernetesSource } = await import('../../sources/kubernetes.ts')
  return kubernetesSource({ kubeconfig, log })
}
