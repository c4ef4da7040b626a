import { kubernetesApi } from '../../cluster/api.ts'
import { setStaysIn } from '../../cluster/staysin.ts'
import { labels } from '../../services/labels.ts'
import type { Config } from '../options.ts'
import { UsageError } from '../usage.ts'

/** @param undo lets it be excluded again */
export async function unexclude(
  config: Config,
  what: string,
  targets: readonly string[],
  undo: boolean,
): Promise<void> {
  if (what !== 'unexclude') throw new UsageError(`${JSON.stringify(what)} is not unexclude`)
  if (targets.length === 0) throw new UsageError('give a Pod (NAMESPACE/NAME), an endpoint (IP:PORT) or a Node')
  const ask = kubernetesApi(config.kubeconfig)
  for (const target of targets) {
    const { kind, name } = await setStaysIn(ask, target, !undo)
    process.stdout.write(
      undo
        ? `${kind} ${name} may be excluded again\n`
        : `${kind} ${name} is not excluded, whatever nodes see, as long as it has the label ${labels.exclusion}: disabled\n`,
    )
  }
}
