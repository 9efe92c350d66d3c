/**
 * A fetch for one trusted-by-configuration address that may still misbehave: it follows no redirect (the answer comes
 * back as it is), and a body fails once it is longer than `maxBytes`, before more of it is read.
 */
export function createBoundedFetch(o: { maxBytes: number }): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, redirect: 'manual' });
    if (response.body === null) return response;
    let left = o.maxBytes;
    const bounded = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        left -= chunk.byteLength;
        if (left < 0) controller.error(new RangeError(`the body is longer than ${o.maxBytes} bytes`));
        else controller.enqueue(chunk);
      },
    });
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(bounded), { status, statusText, headers });
  };
}
