"""What the guard knows: the addresses that are served, and what every answer says to the browser."""

from __future__ import annotations

import re

# As gradio 6.31 names them. What the page, gradio_client, MCP and the login of a Space ask for.
API = r"/gradio_api"
READ = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon|/(?:assets|static|svelte)/.+"
    rf"|{API}/(?:info/?|openapi\.json|app_id/?|user/?|login_check/?|theme\.css|startup-events|queue/data|queue/status"
    rf"|upload_progress|heartbeat/\w{{1,64}}|call/(?:v2/)?\w+/\w{{1,64}}|file=.+|mcp(?:/.*)?)"
    rf"|/login/huggingface|/login/callback|/logout"
)
WRITE = re.compile(rf"{API}/(?:queue/join|call/(?:v2/)?\w+/?|run/\w+/?|api/\w+/?|upload|cancel|reset/?|mcp(?:/.*)?)")
# Only where the demo has passwords.
LOGIN = re.compile(r"/login/?")
COMPONENT = f"{API}/component_server"
FILE = f"{API}/file="
NOT_UNDERSTOOD = (
    "The request could not be understood: a parameter is missing, is of another kind, or names a file that was not uploaded "
    "here. The endpoints are described at the foot of the page, under API."
)


def headers(frame_ancestors: str) -> dict[str, str]:
    """What every answer says to the browser.

    The page needs inline scripts and ``eval``: gradio's front end has the one and makes components' scripts with the other.

    Args:
        frame_ancestors: sites that may show the page in a frame, beside this one.
    """
    policy = (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: https://cdnjs.cloudflare.com",
        "style-src 'self' 'unsafe-inline' https://fonts.googleapis.com",
        "font-src 'self' data: https://fonts.gstatic.com",
        "img-src 'self' data: blob: https://huggingface.co",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob: https://huggingface.co https://*.hf.space",
        "worker-src 'self' blob:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self' https://huggingface.co",
        f"frame-ancestors 'self' {frame_ancestors}".strip(),
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    }


# Whatever a visitor uploads, opened by itself, is a dead thing.
FILE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"}
