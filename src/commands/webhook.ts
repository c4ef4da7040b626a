import { setTimeout as sleep } from 'node:timers/promises'
import { createLog } from '../observe/log.ts'
import { kubernetesApi } from '../webhook/api.ts'
import { namespace } from '../webhook/keeper.ts'
import { startWebhook } from '../webhook/server.ts'
import type { Config } from './options.ts'

const service = 'lightpath-webhook'
const day = 24 * 3600e3
/** After SIGTERM the API server may still send requests here until it hears that this pod is leaving. */
const leavingMs = 3000

/** Runs until SIGTERM or SIGINT. */
export async function runWebhook(config: Config): Promise<void> {
  const log = createLog(config.logLevel)
  const webhook = await startWebhook({
    ask: kubernetesApi(config.kubeconfig),
    address: config.webhookAddress,
    port: config.webhookPort,
    names: [`${service}.${namespace}.svc`],
    lifetimeMs: 90 * day,
    everyMs: 30_000,
    log,
  })
  log.info({ port: webhook.port }, 'webhook started')
  await new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => resolve())
  })
  await sleep(leavingMs)
  await webhook.stop()
}
