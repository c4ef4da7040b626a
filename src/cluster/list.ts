import { type Raw, rawList, rawObject } from '../text/raw.ts'
import type { Ask } from './api.ts'

/** All objects of a collection, in pages, as the API server prefers. */
export async function list(ask: Ask, path: string, query = ''): Promise<readonly Raw[]> {
  const items: Raw[] = []
  let from = ''
  do {
    const page = await ask('GET', `${path}?limit=500&continue=${encodeURIComponent(from)}&${query}`)
    items.push(...rawList(page.items).map(rawObject))
    from = String(rawObject(page.metadata).continue ?? '')
  } while (from !== '')
  return items
}
