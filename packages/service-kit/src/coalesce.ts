/**
 * Makes one call of those that come within `ms`: the call is made that long after the first of them. For a wake-up that no person
 * waits for.
 */
export function coalesce(call: () => void, ms: number): () => void {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(() => {
      isWaiting = false;
      call();
    }, ms).unref();
  };
}
