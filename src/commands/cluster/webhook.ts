import { certificateFiles } from '../../certificates/files.ts'
import { namespace } from '../../cluster/namespace.ts'
import { createLog } from '../../observe/log.ts'
import { Clients } from '../../webhook/clients.ts'
import { startWebhook, type WebhookOptions } from '../../webhook/server.ts'
import type { Config } from '../options.ts'
import { UsageError } from '../usage.ts'

const service = 'lightpath-webhook'
const day = 24 * 3600e3
/** How long after SIGTERM the API server may still send requests here, until it hears that this pod is leaving. */
const leavingMs = 3000

/** Runs until SIGTERM or SIGINT. */
export async function runWebhook(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const webhook = await startWebhook({
    certificates: await certificatesOf(config),
    address: config.webhookAddress,
    port: config.webhookPort,
    clients: clientsOf(config),
    everyMs: 30_000,
    log,
  })
  log.info({ port: webhook.port }, 'webhook started')
  await new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => resolve())
  })
  await webhook.stop(leavingMs)
}

function clientsOf({ clientAuthorities: file, clientNames: names }: Config): Clients | undefined {
  if (file !== undefined) return new Clients({ file, names })
  if (names.length > 0) throw new UsageError('--client-names needs --client-authorities')
  return undefined
}

async function certificatesOf({ certificate, kubeconfig }: Config): Promise<WebhookOptions['certificates']> {
  if (certificate !== undefined) return use => certificateFiles(certificate, use)
  // Only now is the API server asked anything: Kubernetes' client library is most of this process's memory.
  const [{ kubernetesApi }, { keeper }, { trustInWebhook }] = await Promise.all([
    import('../../cluster/api.ts'),
    import('../../certificates/keeper.ts'),
    import('../../webhook/bundle.ts'),
  ])
  const ask = kubernetesApi(kubeconfig)
  const trust = (authority: string) => trustInWebhook(ask, authority)
  const names = [`${service}.${namespace}.svc`]
  return use => keeper({ ask, secret: service, names, lifetimeMs: 90 * day, trust }, use)
}
