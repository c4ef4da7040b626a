/**
 * Watches the kernel's notifications of nf_tables: changes of our tables by others are noticed at once, and so is the
 * overlay's switch.
 */

import type { Family } from '../family.ts'
import { SystemCallError } from '../netlink/libc.ts'
import { subscribe } from '../netlink/notifications.ts'
import { type Message, readAttributes } from '../netlink/reader.ts'
import { overlaySwitch } from './elements/elements.ts'
import { isOurs } from './foreign.ts'
import { hooksFamily } from './rules/expression.ts'
import { tableName } from './rules/ruleset.ts'
import { listAttributes, messageType, tableAttributes } from './wire/messages.ts'

/** NFNLGRP_NFTABLES. */
const group = 7
const headerLength = 4

/** A change by somebody else: that a table is there at all, the switch of the overlay, or what is in a table. */
export type ForeignChange = 'table' | 'switch' | 'contents'

export interface TableEvents {
  /** Whether a change was made by this port: our own writing. */
  readonly isOwn: (port: number) => boolean
  readonly onForeign: (changed: ForeignChange) => void
}

/**
 * Watches from now on; returns a function that ends it. Throws SystemCallError, and LibcMissing.
 * @param netns another network namespace
 */
export function watchTables(
  families: readonly Family[],
  { isOwn, onForeign }: TableEvents,
  netns?: string,
): () => void {
  return subscribe({
    protocol: 'netfilter',
    groups: [group],
    netns,
    onMessage: message => {
      const isOurs = families.some(family => hooksFamily[family] === message.body[0])
      const changed = isOurs && !isOwn(message.port) && changeOf(message)
      if (changed) onForeign(changed)
    },
    // More changed than the buffer had room for.
    onLost: () => onForeign('contents'),
  })
}

/** Changes by others that decide what their base chains do. */
const chainChanges = (['newChain', 'deleteChain', 'newRule', 'deleteRule', 'deleteTable'] as const).map(messageType)

/**
 * Reports changes of chains and rules of others; nothing where the process may not listen. Watches from now on; returns
 * a function that ends it. Throws LibcMissing.
 */
export function watchForeignChains(onChange: () => void): () => void {
  const onMessage = ({ type, body }: Message) => {
    if (!chainChanges.includes(type)) return
    const table = readAttributes(body, headerLength).text(tableAttributes.name) ?? ''
    if (!isOurs(body[0]!, table)) onChange()
  }
  try {
    return subscribe({ protocol: 'netfilter', groups: [group], onMessage, onLost: onChange })
  } catch (error) {
    if (error instanceof SystemCallError) return () => {}
    throw error
  }
}

/** Finds the change of a message. The table is the first attribute of all kinds of objects. */
function changeOf({ type, body }: Message): ForeignChange | undefined {
  if (type === messageType('newGeneration')) return undefined
  const attributes = readAttributes(body, headerLength)
  if (attributes.text(tableAttributes.name) !== tableName) return undefined
  if (type === messageType('deleteTable')) return 'table'
  const isElement = type === messageType('newElements') || type === messageType('deleteElements')
  return isElement && attributes.text(listAttributes.set) === overlaySwitch ? 'switch' : 'contents'
}
