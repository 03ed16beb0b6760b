"""Stock Strawberry over the SQLAlchemy ORM, on onrecord's read tables: what one writes from their documentation.

Models with relationships that are loaded by `selectinload`, plain types, an async session
for each request, uvicorn with its extras. The first five statements are a row-limited relationship, as SQLAlchemy
documents it: loading all of them to show five would cost a multiple.
"""

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import ClassVar

import strawberry
import uvicorn
from sqlalchemy import BigInteger, and_, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column, relationship, selectinload
from starlette.applications import Starlette
from strawberry.asgi import GraphQL

_OPEN = 2**63 - 1


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {int: BigInteger}


class ClaimRow(Base):
    __tablename__ = "claim"
    claim: Mapped[str] = mapped_column(primary_key=True)
    first_position: Mapped[int]


class WordingRow(Base):
    __tablename__ = "wording"
    claim: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    proposition: Mapped[str]


class TallyRow(Base):
    __tablename__ = "tally"
    claim: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    asserting: Mapped[int]
    denying: Mapped[int]
    withholding: Mapped[int]
    until_position: Mapped[int]


class TransitionRow(Base):
    __tablename__ = "transition"
    policy: Mapped[str] = mapped_column(primary_key=True)
    claim: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    to_state: Mapped[str]
    to_reason: Mapped[str]
    until_position: Mapped[int]


class StatementRow(Base):
    __tablename__ = "statement"
    claim: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    speaker_name: Mapped[str]
    stance: Mapped[str]
    quote: Mapped[str]
    effective_at: Mapped[datetime]


_numbered = select(
    StatementRow,
    func.row_number()
    .over(partition_by=StatementRow.claim, order_by=(StatementRow.position.desc(), StatementRow.ordinal.desc()))
    .label("number"),
).subquery()
_FirstStatement = aliased(StatementRow, _numbered)

ClaimRow.wording = relationship(
    WordingRow,
    primaryjoin=and_(
        ClaimRow.claim == WordingRow.claim,
        ClaimRow.first_position == WordingRow.position,
    ),
    foreign_keys=[WordingRow.claim, WordingRow.position],
    uselist=False,
    viewonly=True,
)
ClaimRow.tally = relationship(
    TallyRow,
    primaryjoin=and_(ClaimRow.claim == TallyRow.claim, TallyRow.until_position == _OPEN),
    foreign_keys=[TallyRow.claim],
    uselist=False,
    viewonly=True,
)
ClaimRow.statements = relationship(
    _FirstStatement,
    primaryjoin=and_(ClaimRow.claim == _FirstStatement.claim, _numbered.c.number <= 5),
    foreign_keys=[_FirstStatement.claim],
    order_by=(_FirstStatement.position.desc(), _FirstStatement.ordinal.desc()),
    viewonly=True,
)
TransitionRow.of = relationship(
    ClaimRow, primaryjoin=TransitionRow.claim == ClaimRow.claim, foreign_keys=[TransitionRow.claim], viewonly=True
)


@strawberry.type
class Statement:
    stance: str
    name: str
    quote: str
    effective_at: datetime
    position: int


@strawberry.type
class Claim:
    id: strawberry.ID
    slug: str
    proposition: str
    first_position: int
    state: str
    reason: str
    asserting: int
    denying: int
    withholding: int
    contested: bool
    statements: list[Statement]


def _claim(row: TransitionRow) -> Claim:
    claim, tally = row.of, row.of.tally
    return Claim(
        id=strawberry.ID(row.claim),
        slug=row.claim,
        proposition=claim.wording.proposition,
        first_position=claim.first_position,
        state=row.to_state,
        reason=row.to_reason,
        asserting=tally.asserting,
        denying=tally.denying,
        withholding=tally.withholding,
        contested=tally.asserting > 0 and tally.denying > 0,
        statements=[
            Statement(
                stance=said.stance,
                name=said.speaker_name,
                quote=said.quote,
                effective_at=said.effective_at,
                position=said.position,
            )
            for said in claim.statements
        ],
    )


@strawberry.type
class Query:
    @strawberry.field
    async def claims(self, first: int = 100) -> list[Claim]:
        claim = selectinload(TransitionRow.of)
        newest = (
            select(TransitionRow)
            .where(TransitionRow.policy == "unanimous@1", TransitionRow.until_position == _OPEN)
            .order_by(TransitionRow.position.desc(), TransitionRow.claim)
            .limit(first)
            .options(
                claim.selectinload(ClaimRow.wording),
                claim.selectinload(ClaimRow.tally),
                claim.selectinload(ClaimRow.statements),
            )
        )
        async with _session() as session:
            return [_claim(row) for row in await session.scalars(newest)]


_engine = create_async_engine(
    os.environ["PEER_DATABASE_URL"],
    pool_size=20,
    connect_args={"options": f"-c search_path={os.environ['PEER_SCHEMA']}"},
)
_session = async_sessionmaker(_engine)


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncGenerator[None]:
    yield
    await _engine.dispose()


def main() -> None:
    app = Starlette(lifespan=_lifespan)
    app.add_route("/graphql", GraphQL(strawberry.Schema(Query)))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    print(f"answers at port {listening.getsockname()[1]}", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    server.run([listening])


if __name__ == "__main__":
    main()
