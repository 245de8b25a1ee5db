// Keep a WebSocket open that ends with the session, and say so when that happens.
const ENDED = 4401;
const WHY = {
  logout: "You have logged out in another tab.",
  revoked: "Your session was ended from elsewhere.",
  limit: "Your session was ended, because you have logged in too often elsewhere.",
  expired: "Your session has expired.",
  gone: "Your session has expired, or was ended from elsewhere.",
};
let socket;

function follow() {
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/live/`);
  socket.addEventListener("close", ({ code, reason }) => {
    if (code !== ENDED) return;
    if (reason === "moved") {
      // The browser gets the new key with the page that another tab waits for.
      setTimeout(follow, 1000);
      return;
    }
    const ended = document.getElementById("ended");
    ended.querySelector("span").textContent = WHY[reason];
    ended.hidden = false;
  });
}

follow();
// Who logs out here need not be told.
addEventListener("beforeunload", () => socket.close());
