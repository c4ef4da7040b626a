import { answerRequests, askAll, layers } from '../../check/probe.ts'
import { UsageError } from '../usage.ts'

export async function checkPod(what: string, targets: readonly string[]): Promise<void> {
  if (what === 'serve') return answerRequests()
  if (what !== 'ask') throw new UsageError(`${JSON.stringify(what)} is not serve or ask`)
  const requests = await askAll(targets.map(parseTarget))
  process.stdout.write(`${JSON.stringify({ requests })}\n`)
}

function parseTarget(text: string) {
  const [name, url] = [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]
  const layer = layers.find(each => each === name)
  if (!layer || !URL.canParse(url)) throw new UsageError(`${JSON.stringify(text)} is not envoy=URL or kernel=URL`)
  return { url, layer }
}
