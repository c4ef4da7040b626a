/**
 * Compares versions of resources. They are the resourceVersions of Kubernetes, which are decimal numbers that grow with
 * each change of a resource's kind (KEP-5504, Kubernetes 1.35). Where there is none that can be compared, a version is
 * '': whoever speaks last is right.
 */

import type { FactType } from './types.ts'

const comparable = /^[1-9]\d*$/

/** The version of a resource. Policies of several API groups are one type, so theirs say nothing about each other. */
export function versionOf(type: FactType, resourceVersion: string | undefined): string {
  if (type === 'OtherPolicy' || resourceVersion === undefined) return ''
  return comparable.test(resourceVersion) ? resourceVersion : ''
}

/** Whether something of this version is older than that. Nothing is known to be older where a version is ''. */
export function isOlder(version: string, than: string): boolean {
  return version !== '' && than !== '' && compare(version, than) < 0
}

/** Whether something of this version is newer than that, or may be. */
export function mayBeNewer(version: string, than: string): boolean {
  return version === '' || than === '' || compare(version, than) > 0
}

function compare(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : a > b ? 1 : 0
}
