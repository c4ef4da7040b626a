/** Errors of nf_tables, in the terms of the programs that other parts of the kernel layer run. */

import { NetlinkError } from '../netlink/answer.ts'
import { LibcMissing, SystemCallError } from '../netlink/libc.ts'
import { CommandError } from '../system/command.ts'
import type { ElementName } from './elements/elements.ts'
import { BatchRefused } from './wire/sent.ts'

/** The kernel refused a transaction, and did nothing of it. */
export class TransactionRefused extends CommandError {
  /** The elements at fault; empty where it is none of them. */
  readonly names: readonly ElementName[]
  /** Something is not there any more, or is there already: somebody else has changed our tables. */
  readonly isDrift: boolean
  /** Each of the names is refused; else some are, and the kernel does not say which. */
  readonly isExact: boolean

  constructor({ message, names, code, isExact }: Pick<BatchRefused, 'message' | 'names' | 'code' | 'isExact'>) {
    super('nf_tables', 'refused', message)
    this.names = names
    this.isExact = isExact
    this.isDrift = code === 'ENOENT' || code === 'EEXIST'
  }
}

/** Translates errors into the terms of the programs that other parts of the kernel layer run. */
export function commandErrorOf(error: unknown): unknown {
  if (error instanceof LibcMissing) return new CommandError('nf_tables', 'missing', error.message)
  const isOfKernel = error instanceof SystemCallError || error instanceof NetlinkError || error instanceof BatchRefused
  if (!isOfKernel) return error
  if (error.code === 'EADDRINUSE') {
    return new CommandError('nf_tables', 'taken', 'another agent writes the rules of this node')
  }
  const isForbidden = error.code === 'EPERM' || error.code === 'EACCES'
  return new CommandError('nf_tables', isForbidden ? 'permission' : 'timeout', error.message)
}
