/** Makes what agents show a control plane: a token of a ServiceAccount, bound to the agent's Node. */

import { factsAccess } from '../../../src/controlplane/admission.ts'
import type { ControlPlane } from '../../lab/control-plane.ts'

const namespace = 'lightpath-system'
const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'lightpath-node', namespace } }
const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account.metadata.name}/token`

/** Creates their ServiceAccount. */
export function createAccount(plane: ControlPlane): Promise<void> {
  return plane.create([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, account])
}

/** Creates Nodes of these names. Returns a token by the name of each. */
export async function createNodes(plane: ControlPlane, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
  await plane.create(names.map(name => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } })))
  return new Map(await Promise.all(names.map(async name => [name, await requestToken(plane, name)] as const)))
}

/** @param node that exists */
export async function requestToken(plane: ControlPlane, node: string): Promise<string> {
  const spec = {
    audiences: [factsAccess.audience],
    expirationSeconds: 7200,
    boundObjectRef: { apiVersion: 'v1', kind: 'Node', name: node },
  }
  const { text } = await plane.ask('POST', path, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec })
  return (JSON.parse(text) as { readonly status: { readonly token: string } }).status.token
}
