/** What a stream takes to be encrypted and served. */

import { readFile } from 'node:fs/promises'

/** Both are read for each stream, since they are replaced now and then. */
export interface SecurityFiles {
  /** Certificates (PEM) of whom has to have signed the control plane's. */
  readonly authority: string
  /** A token for the audience lightpath-controlplane, bound to a pod of this node. */
  readonly token: string
}

export interface Security {
  /** Certificates (PEM) of whom has to have signed the control plane's. */
  readonly authority: string
  /** Says who this agent is. */
  readonly token: string
}

export async function readSecurity(files: SecurityFiles | undefined): Promise<Security | undefined> {
  if (!files) return undefined
  const [authority, token] = await Promise.all([files.authority, files.token].map(file => readFile(file, 'utf8')))
  return { authority: authority!, token: token!.trim() }
}
