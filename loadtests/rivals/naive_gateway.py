"""A gateway as it is written first: a model for the body, a session a request, the HTTP client as it comes.

Served by `uvicorn naive_gateway:app`. It authenticates, has a few rules, writes one row an order and sends it on. Where
it listens for the exchange and its keys stand in the file named by NAIVE_GATEWAY_SETTINGS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel
from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

SETTINGS = json.loads(Path(os.environ["NAIVE_GATEWAY_SETTINGS"]).read_text())
MAX_NOTIONAL_USDT = Decimal(250)


class Base(DeclarativeBase):
    """The tables."""


class OrderRow(Base):
    """One order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(String(32))
    side: Mapped[str] = mapped_column(String(4))
    price: Mapped[str] = mapped_column(String(32))
    qty: Mapped[str] = mapped_column(String(32))
    order_id: Mapped[str | None] = mapped_column(String(64))


class Order(BaseModel):
    """What the bot sends."""

    category: Literal["spot", "linear"]
    symbol: Literal["BTCUSDT", "ETHUSDT"]
    side: Literal["Buy", "Sell"]
    orderType: Literal["Limit"]  # noqa: N815 - the exchange's own names
    timeInForce: Literal["PostOnly"]  # noqa: N815
    price: Decimal
    qty: Decimal


engine = create_engine(SETTINGS["database"])
Base.metadata.create_all(engine)
client = httpx.AsyncClient(base_url=SETTINGS["exchange_url"])
app = FastAPI()
Instrumentator().instrument(app).expose(app)


def session() -> Iterator[Session]:
    """Open a session for one request."""
    with Session(engine) as opened:
        yield opened


@app.post("/v5/order/create")
async def create(order: Order, request: Request, db: Annotated[Session, Depends(session)]) -> dict[str, Any]:
    """Check, write, send."""
    headers, body = request.headers, (await request.body()).decode()
    text = headers["x-bapi-timestamp"] + SETTINGS["key"] + headers["x-bapi-recv-window"] + body
    if not hmac.compare_digest(_sign(SETTINGS["secret"], text), headers["x-bapi-sign"]):
        raise HTTPException(401)
    if order.price * order.qty > MAX_NOTIONAL_USDT:
        raise HTTPException(403)
    row = OrderRow(symbol=order.symbol, side=order.side, price=str(order.price), qty=str(order.qty), order_id=None)
    db.add(row)
    db.commit()
    content = order.model_dump_json()
    timestamp = str(time.time_ns() // 1_000_000)
    signed = _sign(SETTINGS["exchange_secret"], timestamp + SETTINGS["exchange_key"] + "2000" + content)
    sent = {
        "X-BAPI-API-KEY": SETTINGS["exchange_key"],
        "X-BAPI-TIMESTAMP": timestamp,
        "X-BAPI-RECV-WINDOW": "2000",
        "X-BAPI-SIGN": signed,
        "Content-Type": "application/json",
    }
    answer: dict[str, Any] = (await client.post("/v5/order/create", content=content, headers=sent)).json()
    return answer


def _sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
