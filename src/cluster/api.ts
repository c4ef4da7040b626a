/** Reading and writing single objects of the Kubernetes API, with the credentials of a kubeconfig or of the pod. */

import { once } from 'node:events'
import { Agent, type RequestOptions, request } from 'node:https'
import { recently } from '../observe/recently.ts'
import { ApiError } from '../sources/api-server.ts'
import { type KubeConfig, loadKubeConfig, serverOf } from '../sources/kube-config.ts'
import { isRawObject, type Raw } from '../text/raw.ts'

const timeoutMs = 10_000
/** Tokens are read again so often: a pod's is replaced long before its end. */
const credentialsMs = 60_000

/** Throws ApiError for an answer that is not 2xx, else what broke the connection. A PATCH is a JSON patch. */
export type Ask = (method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown) => Promise<Raw>

export function kubernetesApi(kubeconfig: string | undefined): Ask {
  const config = loadKubeConfig(kubeconfig)
  const server = serverOf(config)
  const current = recently(credentialsMs, () => credentialsOf(config))
  return async (method, path, body) => {
    const credentials = await current()
    const contentType = method === 'PATCH' ? 'application/json-patch+json' : 'application/json'
    const headers = { ...credentials.headers, 'content-type': contentType, 'user-agent': 'lightpath' }
    const signal = AbortSignal.timeout(timeoutMs)
    const asked = request(`${server.replace(/\/$/, '')}${path}`, { ...credentials, method, headers, signal })
    asked.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = await once(asked, 'response').catch((error: Error) => {
      const why = signal.aborted ? `no answer within ${timeoutMs / 1000} s` : error.message
      throw new Error(`Kubernetes API ${server} is not reachable: ${why}`, { cause: error })
    })
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk)
    const answer = parse(Buffer.concat(chunks).toString())
    if (response.statusCode < 300) return answer
    throw new ApiError(response.statusCode, `${method} ${path}: ${answer.message ?? response.statusCode}`)
  }
}

/** The library makes an agent for each request, which would make a connection for each. */
async function credentialsOf(config: KubeConfig): Promise<RequestOptions> {
  const options: RequestOptions = {}
  await config.applyToHTTPSOptions(options)
  if (options.agent instanceof Agent) options.agent = new Agent({ ...options.agent.options, keepAlive: true })
  return options
}

function parse(text: string): Raw {
  try {
    const value: unknown = JSON.parse(text)
    return isRawObject(value) ? value : {}
  } catch {
    return { message: text.slice(0, 200) }
  }
}
